package embedded

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder is the id of the process that has a file locked; empty: unknown. Linux tells
// of it, and of one in another container by 0, or not at all.
func holder(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer func() { _ = locks.Close() }()
	// 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234567 0 EOF
	major := stat.Dev >> 8 & 0xfff
	minor := stat.Dev&0xff | stat.Dev>>12&0xfff00
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, stat.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == file && fields[4] != "0" {
			return fields[4]
		}
	}
	return ""
}
