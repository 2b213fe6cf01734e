"""Text: the corpus of `llama_mini`, the embedded tasks, and how examples become tokens."""
