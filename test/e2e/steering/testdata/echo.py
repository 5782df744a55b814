"""Sends bytes that are no protocol to port 443, says that it is done, and prints the digest of what comes back: echo.py ADDRESS COUNT"""
import hashlib
import random
import socket
import sys
import threading

sent = random.Random(4711).randbytes(int(sys.argv[2]))
conn = socket.create_connection((sys.argv[1], 443), timeout=30)


def send():
    conn.sendall(sent)
    conn.shutdown(socket.SHUT_WR)


threading.Thread(target=send).start()
digest = hashlib.sha256()
while received := conn.recv(65536):
    digest.update(received)
print(digest.hexdigest() == hashlib.sha256(sent).hexdigest(), digest.hexdigest())
