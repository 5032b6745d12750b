/*
 * The log: one line an event on the console: seconds since boot, level, subsystem, text.
 *
 *     [    0.003512] info  net     198.18.0.2/24 is up, MTU 1500
 *
 * The console is slow (a VM exit per byte): never log per packet or per request. Whatever a peer
 * can provoke at will is counted in a metric instead.
 */
#pragma once

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above `level` are dropped. The level at boot is LOG_INFO. */
void log_set_level(enum log_level level);

/*
 * Text over LOG_LINE_BYTES_MAX is cut; a control byte in it prints as '?'. No newline at the end.
 */
#define LOG_LINE_BYTES_MAX 256

__attribute__((format(printf, 3, 4))) void log_line(enum log_level level, const char *subsystem,
                                                    const char *format, ...);

#define log_error(subsystem, ...) log_line(LOG_ERROR, subsystem, __VA_ARGS__)
#define log_warn(subsystem, ...)  log_line(LOG_WARN, subsystem, __VA_ARGS__)
#define log_info(subsystem, ...)  log_line(LOG_INFO, subsystem, __VA_ARGS__)
#define log_debug(subsystem, ...) log_line(LOG_DEBUG, subsystem, __VA_ARGS__)
