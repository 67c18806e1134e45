#!/bin/sh
# A new program that is never ready.
echo "hanging as $$" >&2
exec sleep 600
