# A Rack application that says who the gateway says is calling, run by the tests.
run ->(env) { [200, { "content-type" => "text/plain" }, [env["HTTP_REMOTE_USER"] || "nobody"]] }
