#!/bin/sh
# What udhcpc calls with a lease in its environment.
case $1 in
bound | renew)
	ifconfig "$interface" "$ip" netmask "${subnet:-255.255.255.255}" mtu "${mtu:-1500}"
	for gateway in $router; do
		ip route replace "$gateway" dev "$interface"
		ip route replace default via "$gateway" dev "$interface"
	done
	: >/etc/resolv.conf
	[ -n "$domain" ] && echo "search $domain" >>/etc/resolv.conf
	for server in $dns; do
		echo "nameserver $server" >>/etc/resolv.conf
	done
	;;
esac
