nc_pkgs = libvirt libvirt-qemu mnl
