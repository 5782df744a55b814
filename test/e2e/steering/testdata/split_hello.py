"""One GET whose ClientHello comes in many small records, each byte in a segment of its own: split_hello.py HOST TARGET"""
import socket
import ssl
import sys

host, target = sys.argv[1:]
conn = socket.create_connection((host, 443), timeout=30)
conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=host)


def until_done(step):
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            conn.sendall(outgoing.read())
            received = conn.recv(65536)
            incoming.write(received) if received else incoming.write_eof()


try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    hello = outgoing.read()
version, body = hello[1:3], hello[5:]
assert int.from_bytes(hello[3:5], "big") == len(body)
for at in range(0, len(body), 50):
    piece = body[at : at + 50]
    for byte in b"\x16" + version + len(piece).to_bytes(2, "big") + piece:
        conn.sendall(bytes([byte]))
until_done(tls.do_handshake)
tls.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
conn.sendall(outgoing.read())
answer = b""
while received := until_done(lambda: tls.read(65536)):
    answer += received
print(answer.decode())
