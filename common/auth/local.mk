auth_pkgs = openssl libxml jansson
