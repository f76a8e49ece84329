"""A TCP relay before a real server: it can fall silent, as one does that hangs, or a network that loses everything."""

from __future__ import annotations

import selectors
import socket
import threading


class Relay:
    """Listens on `port` and passes everything on to 127.0.0.1:`target`, both ways, until it is told to stall."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._partner: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._alarm, self._bell = socket.socketpair()
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="relay")
        self._thread.start()

    def stall(self) -> None:
        """From now on nothing is passed on; whoever connects is let in by the kernel and hears nothing."""
        self._goes_on.clear()
        self._bell.send(b"!")

    def go_on(self) -> None:
        self._goes_on.set()

    def stop(self) -> None:
        self._is_stopping = True
        self.go_on()
        self._bell.send(b"!")
        self._thread.join()
        for end in (*self._partner, self._listener, self._alarm, self._bell):
            end.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_stopping:
            ready = self._selector.select()
            self._goes_on.wait()
            for key, _ in ready:
                self._serve(key.fileobj)  # type: ignore[arg-type]

    def _serve(self, end: socket.socket) -> None:
        if end is self._listener:
            self._accept()
        elif end is self._alarm:
            self._alarm.recv(100)
        elif end in self._partner:
            self._pass_on(end)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        server = socket.create_connection(("127.0.0.1", self._target))
        for end, partner in ((client, server), (server, client)):
            self._partner[end] = partner
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        partner = self._partner[end]
        try:
            if data := end.recv(65_536):
                partner.sendall(data)
                return
        except OSError:
            pass
        for gone in (end, partner):
            self._selector.unregister(gone)
            del self._partner[gone]
            gone.close()
