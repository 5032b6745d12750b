/* What `/` answers: a page that says what this is and links the routes. */
#pragma once

#include <stddef.h>

extern const char page_html[];
extern const size_t page_html_len;
