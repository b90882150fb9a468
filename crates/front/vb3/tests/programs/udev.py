"""Lists video and media devices as libudev knows them, one JSON object a line."""
import json
import os

import pyudev

context = pyudev.Context()
for subsystem in ("video4linux", "media"):
    for device in context.list_devices(subsystem=subsystem).match_is_initialized():
        by_file = pyudev.Devices.from_device_file(context, device.device_node)
        parent = device.parent
        print(json.dumps({
            "node": device.device_node,
            "sys_path": device.sys_path,
            "by_file": by_file.sys_path,
            "age": device.time_since_initialized.total_seconds(),
            "properties": dict(device.properties),
            "attribute": {name: device.attributes.get(name, b"").decode().strip()
                          for name in ("index", "name", "model")},
            "links": sorted(device.device_links),
            "lead_to": sorted({os.path.realpath(link) for link in device.device_links}),
            "parent": [parent.sys_path, parent.subsystem, parent.driver],
        }))
