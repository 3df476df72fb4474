#include "sandbox/broker/member.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sandbox/broker/protocol.h"

static struct slice copy_into(char **at, struct slice slice)
{
    if (slice.length <= 0)
        return (struct slice){*at, 0};
    memcpy(*at, slice.data, (size_t)slice.length);
    struct slice copy = {*at, slice.length};
    *at += slice.length;
    return copy;
}

void member_update(struct member *member, const struct group_join *join)
{
    size_t size = (size_t)join->protocol_count * sizeof(*join->protocols) + 1;
    for (int32_t i = 0; i < join->protocol_count; i++)
        size += (size_t)join->protocols[i].name.length +
                (size_t)(join->protocols[i].metadata.length > 0 ? join->protocols[i].metadata.length
                                                                : 0);
    struct group_protocol *protocols = memory_alloc(size);
    char *at = (char *)(protocols + join->protocol_count);
    for (int32_t i = 0; i < join->protocol_count; i++) {
        protocols[i].name = copy_into(&at, join->protocols[i].name);
        protocols[i].metadata = copy_into(&at, join->protocols[i].metadata);
    }
    free(member->protocols);
    member->protocols = protocols;
    member->protocol_count = join->protocol_count;
    member->session_ms = join->session_ms;
    member->rebalance_ms = join->rebalance_ms;
}

struct member *member_add(struct group *group, struct slice id, const struct group_join *join)
{
    struct member *member = memory_zeroed(1, sizeof(*member));
    member->id = slice_copy(id);
    member->instance = slice_copy(join->instance);
    member_update(member, join);
    list_append(&group->members, &member->node);
    group->member_count++;
    return member;
}

void member_remove(struct group *group, struct member *member)
{
    if (group->leader == member)
        group->leader = NULL;
    list_remove(&member->node);
    group->member_count--;
    free(member->id);
    free(member->instance);
    free(member->protocols);
    free((char *)member->assignment.data);
    free(member);
}

struct member *member_find(const struct group *group, struct slice id)
{
    list_each(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        if (slice_equal(id, member->id))
            return member;
    }
    return NULL;
}

struct member *member_find_instance(const struct group *group, struct slice instance)
{
    list_each(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        if (instance.data && slice_equal(instance, member->instance))
            return member;
    }
    return NULL;
}

struct member *member_check(const struct group *group, struct slice id, struct slice instance,
                            int16_t *code)
{
    struct member *member = instance.data ? member_find_instance(group, instance) : NULL;
    if (member && !slice_equal(id, member->id)) {
        *code = CODE_FENCED_INSTANCE_ID;
        return NULL;
    }
    if (!instance.data)
        member = member_find(group, id);
    *code = member ? CODE_NONE : CODE_UNKNOWN_MEMBER_ID;
    return member;
}

static bool same(struct slice a, struct slice b)
{
    int32_t length = a.length > 0 ? a.length : 0;
    return length == (b.length > 0 ? b.length : 0) &&
           (length == 0 || memcmp(a.data, b.data, (size_t)length) == 0);
}

bool member_same_protocols(const struct member *member, const struct group_join *join)
{
    if (member->protocol_count != join->protocol_count)
        return false;
    for (int32_t i = 0; i < join->protocol_count; i++)
        if (!same(member->protocols[i].name, join->protocols[i].name) ||
            !same(member->protocols[i].metadata, join->protocols[i].metadata))
            return false;
    return true;
}

void member_set_assignment(struct member *member, struct slice bytes)
{
    free((char *)member->assignment.data);
    member->assignment = (struct slice){NULL, 0};
    if (bytes.length > 0)
        member->assignment = (struct slice){slice_copy(bytes), bytes.length};
}

static bool member_has(const struct member *member, struct slice name)
{
    for (int32_t i = 0; i < member->protocol_count; i++)
        if (same(member->protocols[i].name, name))
            return true;
    return false;
}

bool members_have(const struct group *group, struct slice name)
{
    list_each(node, &group->members) if (!member_has(list_of(node, struct member, node),
                                                     name)) return false;
    return true;
}

bool members_support(const struct group *group, const struct group_join *join)
{
    for (int32_t i = 0; i < join->protocol_count; i++)
        if (members_have(group, join->protocols[i].name))
            return true;
    return false;
}

struct slice members_select(const struct group *group)
{
    const struct member *leader = group->leader;
    for (int32_t i = 0; i < leader->protocol_count; i++)
        if (members_have(group, leader->protocols[i].name))
            return leader->protocols[i].name;
    return (struct slice){"", 0};
}

int32_t members_rebalance_ms(const struct group *group)
{
    int32_t longest = 0;
    list_each(node, &group->members)
    {
        const struct member *member = list_of(node, struct member, node);
        if (member->rebalance_ms > longest)
            longest = member->rebalance_ms;
    }
    return longest;
}
