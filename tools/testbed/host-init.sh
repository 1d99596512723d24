#!/bin/sh
# host-init.sh HOSTNAME KIND DIRECTORY CGROUP: the first process of a host, in its network namespace and in mount
# and uts namespaces of its own. It lays out what this host sees and then only keeps the namespaces alive,
# so that every other process of the host can be killed and started again.
set -e
name=$1 kind=$2 directory=$3 cgroup=$4
hostname "$name"
controllers=
for controller in cpu cpuset; do # the node's part of them, before the rest is covered (cgroups.py)
	if [ -d "/sys/fs/cgroup/$controller/mallee:$cgroup" ]; then
		mkdir -p "$directory/cgroup/$controller"
		mount --bind "/sys/fs/cgroup/$controller/mallee:$cgroup" "$directory/cgroup/$controller"
		controllers="$controllers $controller"
	fi
done
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for controller in $controllers; do
	mkdir "/sys/fs/cgroup/$controller"
	mount --move "$directory/cgroup/$controller" "/sys/fs/cgroup/$controller"
done
[ ! -f /etc/hosts ] || mount --bind "$directory/hosts.txt" /etc/hosts
mount -t tmpfs -o mode=755,size=64m tmpfs /run
mkdir -m 755 /run/mallee /run/lock
chown mallee:mallee /run/mallee
if [ "$kind" = node ]; then
	mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
	mkdir /run/libvirt /run/netns
	if [ -c /dev/kvm ]; then # for group kvm, as udev would have it: else libvirt probes QEMU again for each guest
		mknod -m 660 /run/kvm c 10 232
		chgrp kvm /run/kvm
		mount --bind /run/kvm /dev/kvm
	fi
	mount --bind "$directory/libvirt/etc" /etc/libvirt
	mount --bind "$directory/libvirt/lib" /var/lib/libvirt
	mount --bind "$directory/libvirt/cache" /var/cache/libvirt
	mount --bind "$directory/libvirt/log" /var/log/libvirt
fi
touch /run/ready
exec sleep infinity
