#!/bin/sh
# Stands for vb3 in tests: writes the path after --socket to the FIFO, and becomes the program.
export ARGUMENTS="$*"
if test "$4" = --socket; then
    echo "$5" >"$3"
fi
while test "$1" != --; do
    shift
done
shift
exec "$@"
