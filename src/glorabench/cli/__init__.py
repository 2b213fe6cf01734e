"""The `glorabench` command: one file for a family of commands, a command is one function."""

from glorabench.cli.app import main as main
