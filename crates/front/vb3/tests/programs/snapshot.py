"""Asks ustreamer for snapshots until one has the camera's width, and saves that.

Arguments: ustreamer's socket, the file, the width. Before its first frame, ustreamer answers with a
picture of its own.
"""

import http.client
import socket
import struct
import sys


def snapshot(path):
    server = http.client.HTTPConnection("localhost")
    server.sock = socket.socket(socket.AF_UNIX)
    server.sock.connect(path)
    server.request("GET", "/snapshot")
    return server.getresponse().read()


def width(jpeg):
    at = 2
    while jpeg[at + 1] not in (0xC0, 0xC2):
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    return struct.unpack_from(">H", jpeg, at + 7)[0]


def main():
    path, file, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
    jpeg = snapshot(path)
    while width(jpeg) != wanted:
        jpeg = snapshot(path)
    with open(file, "wb") as out:
        out.write(jpeg)


main()
