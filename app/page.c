/*
 * The page does not know the address that it was asked at: a forward, a tap and a proxy each give
 * the machine another one. So its links are relative, and the address in the example is the
 * browser's own. Host, which a client chooses, is never written into it.
 */
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
    "<li><a href=\"stats\">/stats</a>: events, users, sum and average, exact</li>\n"
    "<li><a href=\"health\">/health</a>: whether it is well</li>\n"
    "<li><a href=\"metrics\">/metrics</a>: for Prometheus</li>\n"
    "</ul>\n"
    "<pre>curl -d '{\"userId\":\"user_42\",\"value\":42.5}' "
    "<span id=\"here\">http://ADDRESS:PORT/</span>event</pre>\n"
    "<script>document.getElementById('here').textContent = new URL('.', location.href)</script>\n"
    "</body>\n"
    "</html>\n";

const size_t page_html_len = sizeof page_html - 1;
