#!/bin/sh
# host-init.sh HOSTNAME KIND DIRECTORY: the first process of a host, in its network namespace and in mount
# and uts namespaces of its own. It lays out what this host sees and then only keeps the namespaces alive,
# so that every other process of the host can be killed and started again.
set -e
name=$1 kind=$2 directory=$3
hostname "$name"
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
[ ! -f /etc/hosts ] || mount --bind "$directory/hosts.txt" /etc/hosts
mount -t tmpfs -o mode=755,size=64m tmpfs /run
mkdir -m 755 /run/mallee /run/lock
chown mallee:mallee /run/mallee
if [ "$kind" = node ]; then
	mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
	mkdir /run/libvirt /run/netns
	mount --bind "$directory/libvirt/etc" /etc/libvirt
	mount --bind "$directory/libvirt/lib" /var/lib/libvirt
	mount --bind "$directory/libvirt/cache" /var/cache/libvirt
	mount --bind "$directory/libvirt/log" /var/log/libvirt
fi
touch /run/ready
exec sleep infinity
