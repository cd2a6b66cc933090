"""A strict reader of the Prometheus text format: what it cannot read, a scraper would reject."""

import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(rf"^({_NAME})(?:\{{(.*)\}})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def parse(text):
    """{(sample name, frozenset of label pairs): value}; raises ValueError on what is malformed."""
    if text and not text.endswith("\n"):
        raise ValueError("the last line has no end")
    types, samples = {}, {}
    for line in text.splitlines():
        if line in ("", "# EOF"):
            continue
        if line.startswith("#"):
            words = line.split(" ", 3)
            if words[1] == "TYPE":
                if words[2] in types:
                    raise ValueError(f"a second TYPE of {words[2]}")
                types[words[2]] = words[3]
            elif words[1] not in ("HELP", "UNIT"):
                raise ValueError(f"not a comment of the format: {line}")
            continue
        found = _SAMPLE.match(line)
        if not found:
            raise ValueError(f"not a sample: {line}")
        name, labels, value = found.groups()
        if not any(name == family or name.startswith(f"{family}_") for family in types):
            raise ValueError(f"a sample before its TYPE: {line}")
        key = (name, frozenset(_labels(labels or "", line)))
        if key in samples:
            raise ValueError(f"told twice: {line}")
        samples[key] = float(value)
    return samples


def _labels(text, line):
    at = 0
    while at < len(text):
        found = _LABEL.match(text, at)
        if not found:
            raise ValueError(f"not labels: {line}")
        yield found.group(1), found.group(2)
        at = found.end()


def total(samples, name, **labels):
    """The sum over every sample of this name with at least these labels."""
    wanted = set(labels.items())
    return sum(value for (sample, pairs), value in samples.items() if sample == name and wanted <= pairs)
