"""Captures frames with OpenCV, as the device gives them, and writes them to a file."""
import sys

import cv2

count, path = int(sys.argv[1]), sys.argv[2]
width, height = int(sys.argv[3]), int(sys.argv[4])
node = sys.argv[5] if len(sys.argv) > 5 else "/dev/video0"
camera = cv2.VideoCapture(node, cv2.CAP_V4L2)
if not camera.isOpened():
    sys.exit(f"OpenCV cannot open {node}")
camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"YUYV"))
camera.set(cv2.CAP_PROP_CONVERT_RGB, 0)
camera.set(cv2.CAP_PROP_FRAME_WIDTH, width)
camera.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
with open(path, "wb") as out:
    for number in range(count):
        good, frame = camera.read()
        if not good:
            sys.exit(f"frame {number} did not come")
        out.write(frame.tobytes())
camera.release()
