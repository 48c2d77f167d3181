// containerd's own test suite for snapshotters against a layerfs service: directly, or through the snapshots service of a
// containerd that has it as proxy plugin. Built and run by test/snapshotter-suite.test.ts; needs the Debian packages golang-go and
// golang-github-containerd-containerd-dev.
//
//	LAYERFS     command that starts the service, arguments separated by spaces; gets --root, the folder, and --socket, the path
//	CONTAINERD  containerd's program, when the suite is to go through its snapshots service; empty otherwise
package suite

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"google.golang.org/grpc"
)

// start gives each case a service and a folder of its own.
func start(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	// Paths of sockets are short.
	folder, err := os.MkdirTemp("", "lfs-")
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(folder, "s")
	words := strings.Fields(os.Getenv("LAYERFS"))
	args := append(words[1:], "--root", root, "--socket", socket, "--quiet")
	service := exec.Command(words[0], args...)
	service.Stderr = os.Stderr
	if err := service.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() error {
		defer os.RemoveAll(folder)
		if err := service.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return service.Wait()
	}
	if err := await(socket); err != nil {
		_ = stop()
		return nil, nil, err
	}
	address := socket
	end := func() error { return nil }
	if program := os.Getenv("CONTAINERD"); program != "" {
		address, end, err = startContainerd(program, folder, socket)
		if err != nil {
			_ = stop()
			return nil, nil, err
		}
	}
	connection, err := grpc.Dial("unix://"+address, grpc.WithInsecure())
	if err != nil {
		_ = end()
		_ = stop()
		return nil, nil, err
	}
	client := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(connection), "layerfs")
	return client, func() error {
		if err := connection.Close(); err != nil {
			return err
		}
		if err := end(); err != nil {
			return err
		}
		if err := stop(); err != nil {
			return err
		}
		return unmountBelow(root)
	}, nil
}

// containerdConfig: garbage is not collected meanwhile, and nothing is used that lies elsewhere on the machine.
const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "%[2]s"
[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "1h"
schedule_delay = "1h"
[proxy_plugins.layerfs]
type = "snapshot"
address = "%[3]s"
`

// startContainerd gives the socket of a containerd that has the service as proxy plugin.
func startContainerd(program, folder, service string) (string, func() error, error) {
	address := filepath.Join(folder, "c")
	config := filepath.Join(folder, "config.toml")
	text := fmt.Sprintf(containerdConfig, folder, address, service)
	if err := os.WriteFile(config, []byte(text), 0600); err != nil {
		return "", nil, err
	}
	daemon := exec.Command(program, "-c", config, "-l", "error")
	daemon.Stderr = os.Stderr
	if err := daemon.Start(); err != nil {
		return "", nil, err
	}
	end := func() error {
		if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return daemon.Wait()
	}
	if err := await(address); err != nil {
		_ = end()
		return "", nil, err
	}
	return address, end, nil
}

// unmountBelow takes away what the service leaves mounted, so that containers can start while it does not run.
func unmountBelow(root string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 2 && (fields[2] == "erofs" || strings.HasPrefix(fields[2], "fuse")) && strings.HasPrefix(fields[1], root+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", fields[1], err)
			}
		}
	}
	return nil
}

func await(socket string) error {
	for i := 0; i < 600; i++ {
		// There is a moment between the file and the service behind it.
		if connection, err := net.Dial("unix", socket); err == nil {
			return connection.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("no service on %s", socket)
}

func TestSuite(t *testing.T) {
	testsuite.SnapshotterSuite(t, "layerfs", start)
}
