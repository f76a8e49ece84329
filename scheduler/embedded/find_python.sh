#!/bin/sh
# Prints the first Python ≥ 3.11 of: $1, python3, python3.14 … python3.11, python. Else one line with the remedy.
version_of() { "$1" -c 'import sys; sys.stdout.write("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

for python in ${1:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if is_new_enough "$python"; then
        command -v "$python"
        exit 0
    fi
    found="$found${found:+, }$python: $(version_of "$python" || echo none)"
done
echo "Sendonce needs Python 3.11 or newer (found $found). Remedy: install it, or name it: make run PYTHON=/path/to/python3.11" >&2
exit 1
