"""One unary gRPC call and its answer, whose message is its text: say_grpc.py HOST TEXT"""
import sys

import grpc

with grpc.secure_channel(sys.argv[1] + ":443", grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary("/contoso.Echo/Say")(sys.argv[2].encode(), timeout=20).decode())
