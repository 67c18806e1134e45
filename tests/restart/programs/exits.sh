#!/bin/sh
# A new program that cannot even start.
exit 3
