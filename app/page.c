#include "app/page.h"

const char page_html[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>Tally</title>\n"
    "<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em}"
    "pre{background:#eee;padding:1em;overflow:auto}</style>\n"
    "</head>\n"
    "<body>\n"
    "<h1>Tally</h1>\n"
    "<p>The One Million Request Challenge, answered by a machine without an operating system.</p>\n"
    "<ul>\n"
    "<li><code>POST /event</code>: counts one event</li>\n"
    "<li><a href=\"/stats\">/stats</a>: events, users, sum and average, exact</li>\n"
    "<li><a href=\"/health\">/health</a>: whether it is well</li>\n"
    "<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\n"
    "</ul>\n"
    "<pre>curl -d '{\"userId\":\"user_42\",\"value\":42.5}' http://127.0.0.1:8080/event</pre>\n"
    "</body>\n"
    "</html>\n";

const size_t page_html_len = sizeof page_html - 1;
