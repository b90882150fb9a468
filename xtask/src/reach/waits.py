"""Waits for a camera as programs do; the argument says how. Fails by an exception."""
import fcntl, os, select, socket, sys, threading, time

how = sys.argv[1]
camera = os.open("/dev/video0", os.O_RDWR | os.O_NONBLOCK)


def begin():
    """Starts read() streaming: there is nothing to read yet."""
    try:
        os.read(camera, 1 << 22)
    except BlockingIOError:
        pass


if how == "read":
    os.set_blocking(camera, True)
    assert len(os.read(camera, 1 << 22)) > 0
elif how == "epoll":
    begin()
    waits = select.epoll()
    waits.register(camera, select.EPOLLIN)
    event = os.eventfd(0)
    waits.register(event, select.EPOLLIN)
    for _ in range(3):
        ready = waits.poll(5)
        assert (camera, select.EPOLLIN) in ready, ready
        assert len(os.read(camera, 1 << 22)) > 0
    waits.unregister(camera)
    assert waits.poll(0.2) == []
elif how == "mixed":
    begin()
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    event = os.eventfd(0)
    inner = select.epoll()
    inner.register(event, select.EPOLLIN)
    waits = select.poll()
    for fd in (camera, ours.fileno(), reader, event, inner.fileno()):
        waits.register(fd, select.POLLIN)
    seen = set()
    actions = [lambda: theirs.send(b"x"), lambda: os.write(writer, b"x"), lambda: os.eventfd_write(event, 1)]
    for act in actions:
        threading.Timer(0.15, act).start()
    until = time.monotonic() + 10
    while len(seen) < 5 and time.monotonic() < until:
        for fd, _ in waits.poll(1000):
            seen.add(fd)
            if fd == camera:
                os.read(camera, 1 << 22)
    assert len(seen) == 5, seen
elif how == "listing":
    assert "video0" in os.listdir("/dev"), "/dev"
    assert "video0" in os.listdir("/sys/class/video4linux"), "/sys/class/video4linux"
    assert os.listdir("/dev").count("video0") == 1
else:
    sys.exit("what?")
