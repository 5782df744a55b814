"""A person at a terminal, with a shell that has job control: terminal.py BEARERD CONFIG. It prints ok last."""
import os
import pty
import select
import sys
import time

bearerd, config = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
seen = ""


def until(text):
    """Reads until the terminal shows text, and forgets what came before."""
    global seen
    end = time.monotonic() + 20
    while text not in seen:
        if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            sys.exit(f"{text!r} is not seen in:\n{seen}")
        seen += os.read(terminal, 4096).decode(errors="replace")
    before, seen = seen.split(text, 1)
    return before


def keys(text):
    os.write(terminal, text.encode())


# What is typed comes back on the screen, so that what is waited for is written in another way there.
keys("PS1='p''rompt> '\n")
until("prompt> ")
keys(f"{bearerd} exec --config {config} -- {sys.executable} {os.path.dirname(__file__)}/attended''.py\n")
until("attended\r\n")
for _ in range(20):  # two signals at once may be taken for one
    keys("\x03")
    until("interrupted")
keys("word\n")
passed = until("read word")
if "interrupted" in passed:
    sys.exit("Ctrl-C came twice")
keys("\x1a")
until("Stopped")
until("prompt> ")
keys("kill -0 %1 && echo al''ive\n")
until("alive")
keys("fg; echo status-$?-\n")
until("continued")  # by now the terminal is the command's, and not the shell's
keys("\x03")
until("status-130-")
keys(f"{bearerd} exec --config {config} -- echo piped | cat\n")
until("piped\r\n")
keys("exit\n")
os.waitpid(pid, 0)
print("ok")
