xml_pkgs = libxml openssl
