#include "app/aggregate/stats.h"

#include "app/text/text.h"

void stats_init(struct stats *stats, struct users *users)
{
    stats->count = 0;
    stats->users = users;
    sum_clear(&stats->sum);
}

bool stats_add(struct stats *stats, const struct event *event)
{
    /* The one step that can fail comes first. */
    if (!users_note(stats->users, event->user_id, event->user_id_len))
        return false;
    if (event->is_whole)
        sum_add_whole(&stats->sum, event->whole);
    else
        sum_add(&stats->sum, event->value);
    stats->count++;
    return true;
}

struct stats_snapshot stats_snapshot(const struct stats *stats)
{
    return (struct stats_snapshot){stats->count, users_count(stats->users), stats->sum};
}

static size_t print(char text[STATS_TEXT_BYTES_MAX], uint64_t count, uint64_t users,
                    const struct sum *sum)
{
    struct text out = text_begin(text, STATS_TEXT_BYTES_MAX);
    text_put(&out, "{\"totalRequests\":");
    text_put_u64(&out, count);
    text_put(&out, ",\"uniqueUsers\":");
    text_put_u64(&out, users);
    text_put(&out, ",\"sum\":");
    text_put_double(&out, sum_value(sum));
    text_put(&out, ",\"avg\":");
    text_put_double(&out, sum_average(sum, count));
    text_put(&out, "}");
    return text_len(&out);
}

size_t stats_print(const struct stats *stats, char text[STATS_TEXT_BYTES_MAX])
{
    return print(text, stats->count, users_count(stats->users), &stats->sum);
}

size_t stats_print_snapshot(const struct stats_snapshot *snapshot, char text[STATS_TEXT_BYTES_MAX])
{
    return print(text, snapshot->count, snapshot->users, &snapshot->sum);
}
