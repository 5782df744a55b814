//go:build !linux

package rig

import "syscall"

// attributes are for Linux, where the kernel can end a process with its parent.
func attributes() *syscall.SysProcAttr { return nil }
