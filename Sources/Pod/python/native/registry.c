#include "registry.h"

#include <pthread.h>
#include <stdlib.h>

struct definition {
    struct kaml_tf_options options;
    struct kaml_stream *first;
    uint32_t window;
    bool first_is_used;
    bool is_released;
    struct use *uses;
    size_t use_count;
    uint32_t aliased;
    uint64_t counts[COUNTS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct definition **definitions;
static size_t definition_total;
static bool is_stopped;

int64_t kaml_tf_define(struct kaml_stream *stream, const struct kaml_tf_options *options) {
    struct definition *made = calloc(1, sizeof *made);
    struct kaml_stream_info info;
    int64_t number = -1;
    if (made == NULL)
        return -1;
    kaml_stream_describe(stream, &info);
    made->options = *options;
    made->first = stream;
    made->window = info.window_batches;
    pthread_mutex_lock(&lock);
    struct definition **more = realloc(definitions, (definition_total + 1) * sizeof *more);
    if (more != NULL) {
        definitions = more;
        definitions[definition_total] = made;
        number = (int64_t)definition_total++;
    }
    pthread_mutex_unlock(&lock);
    if (number < 0)
        free(made);
    return number;
}

struct definition *registry_find(int64_t number) {
    pthread_mutex_lock(&lock);
    struct definition *found = number >= 0 && (uint64_t)number < definition_total ? definitions[number] : NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

const struct kaml_tf_options *definition_options(const struct definition *definition) { return &definition->options; }

void kaml_tf_release(int64_t number) {
    struct definition *definition = registry_find(number);
    if (definition == NULL)
        return;
    pthread_mutex_lock(&lock);
    definition->is_released = true;
    bool is_idle = !definition->first_is_used;
    pthread_mutex_unlock(&lock);
    if (is_idle)
        kaml_stream_rest(definition->first);
}

void kaml_tf_stop(void) {
    pthread_mutex_lock(&lock);
    is_stopped = true;
    for (size_t i = 0; i < definition_total; i++)
        for (struct use *use = definitions[i]->uses; use != NULL; use = use->next)
            kaml_stream_stop(use->stream);
    pthread_mutex_unlock(&lock);
}

/* With the lock held. */
static void link_use(struct use *use) {
    struct definition *definition = use->definition;
    use->next = definition->uses;
    definition->uses = use;
    definition->use_count++;
    if (is_stopped)
        kaml_stream_stop(use->stream);
}

enum kaml_code use_begin(struct use *use, struct definition *definition, struct kaml_error *error) {
    *use = (struct use){.definition = definition};
    pthread_mutex_lock(&lock);
    if (!definition->first_is_used) {
        definition->first_is_used = true;
        use->is_first = true;
        use->stream = definition->first;
        link_use(use);
    }
    pthread_mutex_unlock(&lock);
    if (use->is_first)
        return KAML_OK;
    enum kaml_code code = kaml_stream_clone(definition->first, &use->stream, error);
    if (code != KAML_OK)
        return code;
    pthread_mutex_lock(&lock);
    link_use(use);
    pthread_mutex_unlock(&lock);
    return KAML_OK;
}

void use_end(struct use *use) {
    struct definition *definition = use->definition;
    if (use->stream == NULL)
        return;
    pthread_mutex_lock(&lock);
    for (struct use **place = &definition->uses; *place != NULL; place = &(*place)->next)
        if (*place == use) {
            *place = use->next;
            definition->use_count--;
            break;
        }
    bool rests = use->is_first && definition->is_released;
    pthread_mutex_unlock(&lock);
    if (!use->is_first)
        kaml_stream_close(use->stream);
    else if (rests)
        kaml_stream_rest(use->stream);
    use->stream = NULL;
    if (use->is_first) {
        pthread_mutex_lock(&lock);
        definition->first_is_used = false;
        pthread_mutex_unlock(&lock);
    }
}

bool definition_alias(struct definition *definition) {
    uint32_t held = __atomic_load_n(&definition->aliased, __ATOMIC_RELAXED);
    do {
        if (held + 1 >= definition->window)
            return false;
    } while (!__atomic_compare_exchange_n(&definition->aliased, &held, held + 1, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return true;
}

void definition_unalias(struct definition *definition) {
    __atomic_sub_fetch(&definition->aliased, 1, __ATOMIC_RELAXED);
}

void definition_count(struct definition *definition, enum counted what, uint64_t amount) {
    __atomic_add_fetch(&definition->counts[what], amount, __ATOMIC_RELAXED);
}

static uint64_t counted(const struct definition *definition, enum counted what) {
    return __atomic_load_n(&definition->counts[what], __ATOMIC_RELAXED);
}

bool kaml_tf_count(int64_t number, struct kaml_tf_counters *counters) {
    struct definition *definition = registry_find(number);
    if (definition == NULL)
        return false;
    pthread_mutex_lock(&lock);
    counters->streams = definition->use_count + (definition->first_is_used || definition->is_released ? 0 : 1);
    pthread_mutex_unlock(&lock);
    counters->batches = counted(definition, COUNT_BATCHES);
    counters->aliased_bytes = counted(definition, COUNT_ALIASED);
    counters->viewed_bytes = counted(definition, COUNT_VIEWED);
    counters->copied_bytes = counted(definition, COUNT_COPIED);
    return true;
}
