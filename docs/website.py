"""How mkdocs makes a site of this repository: the same pages and files in the same folders, and the API of the code.

Every page refuses requests to other machines by a content security policy, and a build fails if a page or a style asks
for one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "results/*.md", "results/*/*.md")
LINK = re.compile(r"\]\(([^)#\s]+)")
POLICY = "default-src 'self' data: blob: 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'none'"
REQUESTS = (  # what makes a browser load something
    re.compile(r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^\s\"'>]+"),
    re.compile(r"<link\b[^>]*\shref=[\"']?(?:https?:)?//[^\s\"'>]+"),
    re.compile(r"url\(\s*[\"']?(?:https?:)?//[^)]+\)|@import\s+[\"'](?:https?:)?//[^\"']+"),
)
API = {
    "library": ("Library", "What `glorabench` offers to your own code: `glorabench.adapt(model, ...)`.", ["library"]),
    "methods": ("Methods", "The interface of methods, and every method. Values are in `conf/method/`.", ["methods"]),
    "records": ("Records", "What one run says of itself, and how records are read.", ["records"]),
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the date out of the build, so that the same pages give the same bytes."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by the pages of the repository, the files that they link to, and the API."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    pages = sorted({path.relative_to(ROOT).as_posix() for pattern in PAGES for path in ROOT.glob(pattern)})
    for name in [*pages, *sorted(linked_files(pages) - set(pages))]:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name, (title, text, packages) in API.items():
        content = f"# {title}\n\n{text}\n\n" + "".join(map(api_text, packages))
        files.append(File.generated(config, f"api/{name}.md", content=content))
    return files


def linked_files(pages: list[str]) -> set[str]:
    """The files of the repository that pages link to, as paths below its root."""
    targets = set()
    for name in pages:
        for link in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
            target = normpath(join(dirname(name), link))
            if ":" not in link and (ROOT / target).is_file():
                targets.add(target)
    return targets


def api_text(package: str) -> str:
    """The line for mkdocstrings of every module of a package; `base` and what it names first."""
    modules = sorted(path.stem for path in (ROOT / "src/glorabench" / package).glob("[!_]*.py"))
    modules.sort(key=lambda name: name not in ("base", "reparam", "record"))
    return "".join(f"::: glorabench.{package}.{name}\n\n" for name in modules)


def on_post_page(output: str, **_: object) -> str:
    """Add the policy that lets a page load nothing from elsewhere."""
    return output.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">', 1)


def on_post_build(config: MkDocsConfig) -> None:
    """Check that neither page nor style asks another machine for anything.

    Raises:
        PluginError: naming the file and the address.
    """
    site = Path(config.site_dir)
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]):
        text = path.read_text(encoding="utf-8")
        for pattern in REQUESTS:
            if found := pattern.search(text):
                raise PluginError(f"{path.relative_to(site)} asks another machine: {found[0][:200]}")
