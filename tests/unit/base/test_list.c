/* Lists: membership, order, counts. */
#include "base/list.h"

#include "support/unit_test.h"

typedef struct member {
    int number;
    list_node node;
} member;

/* The numbers of the list in order, and its links backwards and count agree. */
static void list_check(const list *l, const char *numbers)
{
    size_t count = 0;
    const list_node *previous = NULL;
    for (const list_node *n = l->first; n != NULL; n = n->next) {
        assert_int_equal(list_member(n, member, node)->number, numbers[count] - '0');
        assert_ptr_equal(n->previous, previous);
        assert_ptr_equal(n->owner, l);
        previous = n;
        count++;
    }
    assert_ptr_equal(l->last, previous);
    assert_int_equal(count, strlen(numbers));
    assert_int_equal(l->count, count);
}

static void base_list__append_and_prepend(void **state)
{
    (void)state;
    list l = {0};
    member m[3] = {{1, {0}}, {2, {0}}, {3, {0}}};
    list_check(&l, "");
    list_append(&l, &m[0].node);
    list_append(&l, &m[1].node);
    list_prepend(&l, &m[2].node);
    list_check(&l, "312");
}

static void base_list__remove_from_every_place(void **state)
{
    (void)state;
    list l = {0};
    member m[4] = {{1, {0}}, {2, {0}}, {3, {0}}, {4, {0}}};
    for (size_t i = 0; i < 4; i++)
        list_append(&l, &m[i].node);
    list_remove(&m[1].node);
    list_check(&l, "134");
    list_remove(&m[0].node);
    list_check(&l, "34");
    list_remove(&m[3].node);
    list_check(&l, "3");
    list_remove(&m[2].node);
    list_check(&l, "");
    assert_null(m[2].node.owner);
}

static void base_list__remove_from_no_list_is_nothing(void **state)
{
    (void)state;
    member m = {1, {0}};
    list_remove(&m.node);
    assert_null(m.node.owner);
}

static void base_list__move_keeps_membership_single(void **state)
{
    (void)state;
    list from = {0};
    list to = {0};
    member m[3] = {{1, {0}}, {2, {0}}, {3, {0}}};
    for (size_t i = 0; i < 3; i++)
        list_append(&from, &m[i].node);
    list_move(&to, &m[1].node);
    list_check(&from, "13");
    list_check(&to, "2");
    list_move(&to, &m[0].node);
    list_check(&to, "21");
    list_move(&to, &m[1].node);
    list_check(&to, "12");
}

static void base_list__take_first(void **state)
{
    (void)state;
    list l = {0};
    member m[2] = {{1, {0}}, {2, {0}}};
    list_append(&l, &m[0].node);
    list_append(&l, &m[1].node);
    assert_ptr_equal(list_take_first(&l), &m[0].node);
    list_check(&l, "2");
    assert_ptr_equal(list_take_first(&l), &m[1].node);
    assert_null(list_take_first(&l));
    list_check(&l, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_list__append_and_prepend),
        cmocka_unit_test(base_list__remove_from_every_place),
        cmocka_unit_test(base_list__remove_from_no_list_is_nothing),
        cmocka_unit_test(base_list__move_keeps_membership_single),
        cmocka_unit_test(base_list__take_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
