"""A program that a person attends to at a terminal: it tells of Ctrl-C until it has read a line, and then of going on after Ctrl-Z."""
import os
import signal
import sys


def say(word):
    os.write(1, f"{word}\n".encode())  # print must not be entered twice, as a signal would


signal.signal(signal.SIGINT, lambda *_: say("interrupted"))
say("attended" if sys.stdin.isatty() else "alone")
line = sys.stdin.readline().strip()
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGCONT, lambda *_: say("continued"))
say(f"read {line}")
while True:
    signal.pause()
