"""Sphinx's settings: `python -m sphinx -W docs build/docs` writes the pages, without a network."""

import importlib
import pkgutil
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jaxgen

project = "jaxgen"
release = jaxgen.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["own_gan.py"]
smartquotes = False
html_theme = "furo"
html_title = "jaxgen"
html_copy_source = html_show_copyright = False
highlight_language = "none"
pygments_style, pygments_dark_style = "friendly", "native"

default_role = "py:obj"  # `name` in a docstring is code, and a link where there is such a name
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88

# What docstrings have besides paragraphs and `code`: entries "name: text" whose further lines are
# indented, rows "name   text" of an entry, and formulas or tables, indented by four or more.
ENTRY = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*):(?: (.*))?")
ROW = re.compile(r"([\w-]+) {2,}(\S.*)")
MARKUP = re.compile(r"(`[^`]*`)|([*|_\\])")


def plain(text):
    return MARKUP.sub(lambda found: found[1] or "\\" + found[2], text)


def to_rst(app, what, name, thing, options, lines):
    """A docstring as reStructuredText, for Sphinx's event autodoc-process-docstring."""
    written, block = [], ""
    for line in lines:
        bare, indent = line.strip(), len(line) - len(line.lstrip())
        text = plain(bare)
        before, gap = block, not written or not written[-1]
        if not line:
            text = ""
        elif indent == 0 and (entry := ENTRY.fullmatch(bare)):
            block, names = "entry", entry[1].replace(", ", "**, **")
            text = f"* **{names}**: {plain(entry[2] or '')}"
        elif indent == 0:
            block = "text"
        elif block == "formula" or (gap and indent >= 4):
            block, text = "formula", line
        elif row := ROW.fullmatch(text):
            block, text = "row", f"  * **{row[1]}**: {row[2]}"
        elif block in ("entry", "row"):
            text = f"  {text}" if block == "entry" else f"    {text}"
        else:
            block, text = "lines", f"  | {text}"
        if block != before:
            written += ["", "::", ""] if block == "formula" else [""]
        written.append(text)
    lines[:] = written


def without_addresses(app, what, name, thing, options, signature, returns):
    """Defaults that are functions as three dots, and no fields of Flax's own."""
    short = lambda text: text and text.replace("jaxlib._jax.Array", "Array")
    signature = signature and re.sub(r"<(?:<[^>]*>|[^<>])*>", "...", signature)
    signature = signature and re.sub(r", parent: .*?name: str \| None = None", "", signature)
    return short(signature), short(returns)


def with_modules(app, page, source):
    """Writes a section for each module where a page says "modules of PACKAGE"."""
    section = "## {0}\n\n```{{eval-rst}}\n.. automodule:: {0}\n   :members:\n```\n"

    def sections(found):
        package = importlib.import_module(found[1])
        modules = pkgutil.walk_packages(package.__path__, f"{found[1]}.")
        return "\n".join(section.format(m.name) for m in modules if not m.ispkg)

    source[0] = re.sub(r"<!-- modules of (\S+) -->", sections, source[0])


def skips(app, what, name, thing, skip, options):
    """Skips what other libraries documented, such as an activation that is a module's default."""
    of = getattr(thing, "__module__", None) or "jaxgen"
    return skip or not of.startswith("jaxgen") or "Alias for field" in (thing.__doc__ or "")


def without_value(app, domain, kind, content):
    """Removes the value of a constant, as Python writes it."""
    for node in content.parent[0].findall(lambda node: kind == "data" and node.astext()[:2] == " ="):
        node.parent.remove(node)
        break


def setup(app):
    app.connect("object-description-transform", without_value)
    app.connect("autodoc-skip-member", skips)
    app.connect("source-read", with_modules)
    app.connect("autodoc-process-docstring", to_rst)
    app.connect("autodoc-process-signature", without_addresses)
