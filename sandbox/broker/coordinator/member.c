#include "sandbox/broker/coordinator/member.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sandbox/broker/wire/protocol.h"

static struct broker_slice copy_into(char **at, struct broker_slice slice)
{
    if (slice.length <= 0)
        return (struct broker_slice){*at, 0};
    memcpy(*at, slice.data, (size_t)slice.length);
    struct broker_slice copy = {*at, slice.length};
    *at += slice.length;
    return copy;
}

void broker_member_update(struct broker_member *member, const struct broker_group_join *join)
{
    size_t size = (size_t)join->protocol_count * sizeof(*join->protocols) + 1;
    for (int32_t i = 0; i < join->protocol_count; i++)
        size += (size_t)join->protocols[i].name.length +
                (size_t)(join->protocols[i].metadata.length > 0 ? join->protocols[i].metadata.length
                                                                : 0);
    struct broker_group_protocol *protocols = memory_alloc(size);
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

struct broker_member *broker_member_add(struct broker_group *group, struct broker_slice id,
                                        const struct broker_group_join *join)
{
    struct broker_member *member = memory_zeroed(1, sizeof(*member));
    member->id = broker_slice_copy(id);
    member->instance = broker_slice_copy(join->instance);
    broker_member_update(member, join);
    list_append(&group->members, &member->node);
    group->member_count++;
    return member;
}

void broker_member_remove(struct broker_group *group, struct broker_member *member)
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

struct broker_member *broker_member_find(const struct broker_group *group, struct broker_slice id)
{
    list_each(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        if (broker_slice_equal(id, member->id))
            return member;
    }
    return NULL;
}

struct broker_member *broker_member_find_instance(const struct broker_group *group,
                                                  struct broker_slice instance)
{
    list_each(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        if (instance.data && broker_slice_equal(instance, member->instance))
            return member;
    }
    return NULL;
}

struct broker_member *broker_member_check(const struct broker_group *group, struct broker_slice id,
                                          struct broker_slice instance, int16_t *code)
{
    struct broker_member *member =
        instance.data ? broker_member_find_instance(group, instance) : NULL;
    if (member && !broker_slice_equal(id, member->id)) {
        *code = CODE_FENCED_INSTANCE_ID;
        return NULL;
    }
    if (!instance.data)
        member = broker_member_find(group, id);
    *code = member ? CODE_NONE : CODE_UNKNOWN_MEMBER_ID;
    return member;
}

static bool same(struct broker_slice a, struct broker_slice b)
{
    int32_t length = a.length > 0 ? a.length : 0;
    return length == (b.length > 0 ? b.length : 0) &&
           (length == 0 || memcmp(a.data, b.data, (size_t)length) == 0);
}

bool broker_member_same_protocols(const struct broker_member *member,
                                  const struct broker_group_join *join)
{
    if (member->protocol_count != join->protocol_count)
        return false;
    for (int32_t i = 0; i < join->protocol_count; i++)
        if (!same(member->protocols[i].name, join->protocols[i].name) ||
            !same(member->protocols[i].metadata, join->protocols[i].metadata))
            return false;
    return true;
}

void broker_member_set_assignment(struct broker_member *member, struct broker_slice bytes)
{
    free((char *)member->assignment.data);
    member->assignment = (struct broker_slice){NULL, 0};
    if (bytes.length > 0)
        member->assignment = (struct broker_slice){broker_slice_copy(bytes), bytes.length};
}

static bool member_has(const struct broker_member *member, struct broker_slice name)
{
    for (int32_t i = 0; i < member->protocol_count; i++)
        if (same(member->protocols[i].name, name))
            return true;
    return false;
}

bool broker_members_have(const struct broker_group *group, struct broker_slice name)
{
    list_each(node, &group->members)
    {
        if (!member_has(list_of(node, struct broker_member, node), name))
            return false;
    }
    return true;
}

bool broker_members_support(const struct broker_group *group, const struct broker_group_join *join)
{
    for (int32_t i = 0; i < join->protocol_count; i++)
        if (broker_members_have(group, join->protocols[i].name))
            return true;
    return false;
}

struct broker_slice broker_members_select(const struct broker_group *group)
{
    const struct broker_member *leader = group->leader;
    for (int32_t i = 0; i < leader->protocol_count; i++)
        if (broker_members_have(group, leader->protocols[i].name))
            return leader->protocols[i].name;
    return (struct broker_slice){"", 0};
}

int32_t broker_members_rebalance_ms(const struct broker_group *group)
{
    int32_t longest = 0;
    list_each(node, &group->members)
    {
        const struct broker_member *member = list_of(node, struct broker_member, node);
        if (member->rebalance_ms > longest)
            longest = member->rebalance_ms;
    }
    return longest;
}
