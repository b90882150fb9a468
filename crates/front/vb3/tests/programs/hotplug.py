"""A client of libudev that receives the events of a camera that is unplugged and plugged in.

hotplug.py VB3: prints an event a line, as JSON.
"""
import json
import subprocess
import sys

import pyudev

context = pyudev.Context()
for source in ("udev", "kernel"):
    monitor = pyudev.Monitor.from_netlink(context, source=source)
    monitor.filter_by(subsystem="video4linux")
    monitor.start()
    for order in ("unplug", "plug"):
        subprocess.run([sys.argv[1], "ctl", order, "video0"], check=True)
        for _ in ("video", "metadata"):
            device = monitor.poll(timeout=250)
            there = [found.device_node for found in context.list_devices(subsystem="video4linux")]
            print(json.dumps({
                "source": source,
                "action": device.action,
                "node": device.device_node,
                "properties": dict(device.properties),
                "there": sorted(there),
            }))
monitor = pyudev.Monitor.from_netlink(context)
monitor.start()
for order in ("unplug", "plug"):
    subprocess.run([sys.argv[1], "ctl", order, "video0"], check=True)
    for _ in range(9):
        device = monitor.poll(timeout=250)
        print(json.dumps(f"{device.action} {device.sys_name}"))
