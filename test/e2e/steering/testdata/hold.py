"""Opens connections to port 443, says so, and holds those that stay open: hold.py ADDRESS COUNT"""
import signal
import socket
import sys

held = [socket.create_connection((sys.argv[1], 443), timeout=30) for _ in range(int(sys.argv[2]))]
print("held", flush=True)
signal.pause()
