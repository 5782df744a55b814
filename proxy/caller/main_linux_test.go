package caller

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// roleVariable makes the test binary a client of another user's: it connects,
// says so, and stays until its standard input ends.
const roleVariable = "CALLER_TEST_CONNECT"

func TestMain(m *testing.M) {
	if network := os.Getenv(roleVariable); network != "" {
		os.Exit(connect(network, os.Args[len(os.Args)-1]))
	}
	goleak.VerifyTestMain(m)
}

func connect(network, address string) int {
	conn, err := net.Dial(network, address)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	conn.Close()
	return 0
}

// connectAs has a process of another user connect to l, and gives the accepted
// connection, the process's id and what ends it.
func connectAs(tb testing.TB, as syscall.Credential, l net.Listener, network, address string) (conn net.Conn, pid int, end func()) {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe", address) // whose folder others may not enter
	cmd.Env = append(os.Environ(), roleVariable+"="+network)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &as}
	return connectBy(tb, cmd, l)
}

func connectBy(tb testing.TB, cmd *exec.Cmd, l net.Listener) (conn net.Conn, pid int, end func()) {
	tb.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			stdin.Close()
			if err := cmd.Wait(); err != nil {
				tb.Error(err)
			}
		}
	}
	tb.Cleanup(end)
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "connected\n" {
		tb.Fatalf("the client: %s", line)
	}
	return accept(tb, l), cmd.Process.Pid, end
}

func listenOn(tb testing.TB, network, address string) net.Listener {
	tb.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func accept(tb testing.TB, l net.Listener) net.Conn {
	tb.Helper()
	conn, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// pairOn connects to l, and gives the accepted connection.
func pairOn(tb testing.TB, l net.Listener) net.Conn {
	tb.Helper()
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	return accept(tb, l)
}

// stranger gives a Finder to which the test's own process is somebody else.
func stranger() *Finder {
	f := New()
	f.own = 1<<32 - 2
	return f
}
