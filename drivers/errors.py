"""The one error for input that cannot be used."""


class SourceError(Exception):
    """A source cannot be read. Its text is one line: the file or device, the place in it, what was expected."""


class SourceChanged(SourceError):  # noqa: N818 - it names an event, as the field does
    """The picture's size or depth changed within one recording; what came before it is sound."""
