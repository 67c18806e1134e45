#!/bin/sh
# A new program: the same, but for a word that shows which one it is.
echo "the wrapper runs" >&2
exec "$DARVAZEH_REAL" "$@"
