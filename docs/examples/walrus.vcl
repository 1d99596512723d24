# Varnish before walrus: public objects from the cache, all else straight from walrus. ../varnish.md explains it.
vcl 4.1;

import std;

backend walrus {
	.host = "127.0.0.1";
	.port = "8777";
	.first_byte_timeout = 60s;
	.probe = {
		# Without a signature nobody may list buckets: walrus is well when it says so.
		.url = "/";
		.expected_response = 403;
		.interval = 1s;
		.timeout = 1s;
		.window = 3;
		.threshold = 2;
		.initial = 2;
	}
}

acl purgers {
	"localhost";
}

sub vcl_recv {
	# Signed requests are their signer's alone, whether the signature is in the header or in the link. Nothing
	# of them may change: Signature Version 4 covers the host and the whole path.
	if (req.http.Authorization || req.url ~ "[?&](X-Amz-Signature|X-Amz-Algorithm|Signature|AWSAccessKeyId)=") {
		return (pass);
	}
	# This site is the bucket "www".
	if (req.http.Host ~ "^www\.example\.com(:[0-9]+)?$") {
		set req.url = regsub(req.url, "^([^?]*/)(\?.*)?$", "\1index.html\2");
		set req.url = "/www" + req.url;
	}
	if (req.method == "PURGE") {
		if (client.ip !~ purgers) {
			return (synth(405));
		}
		return (purge);
	}
	if (req.method != "GET" && req.method != "HEAD") {
		return (pass);
	}
	# Of the site's other pages; walrus knows none.
	unset req.http.Cookie;
	# What has expired is shown on only while walrus is away.
	if (std.healthy(req.backend_hint)) {
		set req.grace = 0s;
	}
}

sub vcl_backend_response {
	# Objects have an ETag. Errors, lists of objects and settings have none, and are never kept.
	if (beresp.status != 200 || !beresp.http.ETag) {
		set beresp.uncacheable = true;
		set beresp.ttl = 120s;
		return (deliver);
	}
	# Objects that were stored without Cache-Control.
	if (!beresp.http.Cache-Control && !beresp.http.Expires) {
		set beresp.ttl = 10s;
	}
	# Expired objects are asked for by If-None-Match; walrus answers 304 without the bytes.
	set beresp.keep = 1d;
	set beresp.grace = 1h;
}

sub vcl_deliver {
	if (obj.hits > 0) {
		set resp.http.X-Cache = "hit";
	} else {
		set resp.http.X-Cache = "miss";
	}
}
