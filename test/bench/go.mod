module github.com/bearerd/bearerd/test/bench

go 1.26.0

require github.com/bearerd/bearerd v0.0.0

replace github.com/bearerd/bearerd => ../..
