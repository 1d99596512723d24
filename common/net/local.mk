net_pkgs = openssl curl wslay
