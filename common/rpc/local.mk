rpc_pkgs = openssl libxml curl
