#!/bin/sh
# A CGI program that says who the gateway says is calling, run by the tests.
printf 'Content-Type: text/plain\r\n\r\n%s' "${HTTP_REMOTE_USER:-nobody}"
