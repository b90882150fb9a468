"""Plays a GStreamer pipeline, and seeks in it.

    seek.py PIPELINE COMMAND...

The commands, one after the other:
    until SECONDS   plays until the position is there, or to the end
    key SECONDS     seeks to the key frame before that time
    accurate SECONDS
                    seeks to that very time
    pause, play     sets the state, and waits until it is there
    eos             plays to the end
"""

import ctypes
import sys
import time

PAUSED, PLAYING, NULL = 3, 4, 1
TIME = 3
FLUSH, ACCURATE, KEY_UNIT = 1, 2, 4
EOS_OR_ERROR = 1 | 2
SECOND = 1_000_000_000
PATIENCE = 60

lib = ctypes.CDLL("libgstreamer-1.0.so.0")
POINTER = ctypes.c_void_p


def function(name, result, *arguments):
    found = getattr(lib, name)
    found.restype, found.argtypes = result, arguments
    return found


init = function("gst_init", None, POINTER, POINTER)
parse = function("gst_parse_launch", POINTER, ctypes.c_char_p, POINTER)
set_state = function("gst_element_set_state", ctypes.c_int, POINTER, ctypes.c_int)
get_state = function(
    "gst_element_get_state", ctypes.c_int, POINTER, POINTER, POINTER, ctypes.c_uint64
)
seek = function(
    "gst_element_seek_simple",
    ctypes.c_int,
    POINTER,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
position = function(
    "gst_element_query_position",
    ctypes.c_int,
    POINTER,
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_int64),
)
get_bus = function("gst_element_get_bus", POINTER, POINTER)
pop = function(
    "gst_bus_timed_pop_filtered", POINTER, POINTER, ctypes.c_uint64, ctypes.c_int
)
structure = function("gst_message_get_structure", POINTER, POINTER)
to_string = function("gst_structure_to_string", ctypes.c_char_p, POINTER)


def heard(seconds):
    """Whether the end has come within that time. An error ends the program."""
    message = pop(bus, int(seconds * SECOND), EOS_OR_ERROR)
    if not message:
        return False
    what = structure(message)
    if what:
        sys.exit(to_string(what).decode())
    return True


def change(state):
    set_state(pipeline, state)
    if get_state(pipeline, None, None, PATIENCE * SECOND) != 1:
        heard(0)
        sys.exit("the state does not change")


def go_on_until(seconds):
    at = ctypes.c_int64(-1)
    end = time.monotonic() + PATIENCE
    while at.value < seconds * SECOND:
        if heard(0.01):
            return
        if time.monotonic() > end:
            sys.exit(f"it stays at {at.value}")
        position(pipeline, TIME, ctypes.byref(at))


def jump(seconds, how):
    if not seek(pipeline, TIME, FLUSH | how, int(seconds * SECOND)):
        sys.exit("the pipeline does not seek")


init(None, None)
pipeline = parse(sys.argv[1].encode(), None)
bus = get_bus(pipeline)
change(PLAYING)
words = iter(sys.argv[2:])
for word in words:
    if word == "until":
        go_on_until(float(next(words)))
    elif word == "key":
        jump(float(next(words)), KEY_UNIT)
    elif word == "accurate":
        jump(float(next(words)), ACCURATE)
    elif word == "pause":
        change(PAUSED)
    elif word == "play":
        change(PLAYING)
    elif word == "eos":
        if not heard(PATIENCE):
            sys.exit("the end does not come")
    else:
        sys.exit(f"no such command: {word}")
change(NULL)
