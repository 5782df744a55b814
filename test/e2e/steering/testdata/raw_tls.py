"""Sends a request as it is by TLS to HOST: raw_tls.py ADDRESS HOST REQUEST [PROXY-PORT]

ADDRESS is connected to, or, by CONNECT, HOST through a proxy on loopback. The
variable PROTOCOL is the number of one that takes TCP's place.
"""
import os
import socket
import ssl
import sys

address, host, request = sys.argv[1:4]
if len(sys.argv) > 4:
    conn = socket.create_connection(("127.0.0.1", int(sys.argv[4])), timeout=30)
    conn.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
    assert b" 200 " in conn.recv(65536)
else:
    # Also for a mapped address, which an IPv6 socket takes to IPv4.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    conn = socket.socket(family, socket.SOCK_STREAM, int(os.environ.get("PROTOCOL", 0)))
    conn.settimeout(30)
    conn.connect((address, 443))
tls = ssl.create_default_context().wrap_socket(conn, server_hostname=host)
tls.sendall(request.encode())
answer = b""
while received := tls.recv(65536):
    answer += received
print(answer.decode())
