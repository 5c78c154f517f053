"""Reference pages from the code: each module has a function ``markdown``."""

__all__ = ["definition", "sentence"]


def definition(name: str, detail: str, text: str | None) -> str:
    """Write one item of a definition list: a name with its type and default, then its help."""
    help_text = sentence(text)
    return f"`{name}` — {detail}\n: {help_text}" if detail and help_text else f"`{name}`\n: {detail or help_text}"


def sentence(text: str | None) -> str:
    """Put a docstring or help text on one line, as Markdown."""
    return " ".join((text or "").split()).replace("``", "`")
