walrus_pkgs = openssl libxml archive jansson
