/* MAIL and RCPT with their parameters (RFC 5321 section 4.1.2, and the extension of each). One
 * table names every parameter. Pure: what is read points into the argument. */
#include "proto/params.h"

#include "proto/octet.h"

enum { PARAM_SIZE_DIGITS_MAX = 20 };

#define PARAM_REPLY(code, class_, subject, detail, text)                                           \
    {                                                                                              \
        code, {class_, subject, detail},                                                           \
        {                                                                                          \
            text, sizeof(text) - 1                                                                 \
        }                                                                                          \
    }

static const smx_reply param_bad_mail =
    PARAM_REPLY(501, 5, 5, 4, "syntax: MAIL FROM:<address> [parameters]");
static const smx_reply param_bad_rcpt =
    PARAM_REPLY(501, 5, 5, 4, "syntax: RCPT TO:<address> [parameters]");
static const smx_reply param_bad_sender = PARAM_REPLY(501, 5, 1, 7, "bad sender address");
static const smx_reply param_bad_recipient = PARAM_REPLY(501, 5, 1, 3, "bad recipient address");
static const smx_reply param_needs_utf8 =
    PARAM_REPLY(553, 5, 6, 7, "a non-ASCII address needs SMTPUTF8");
static const smx_reply param_malformed = PARAM_REPLY(501, 5, 5, 4, "malformed parameter");
static const smx_reply param_bad_value = PARAM_REPLY(501, 5, 5, 4, "bad value of a parameter");
static const smx_reply param_doubled = PARAM_REPLY(501, 5, 5, 4, "parameter given twice");
static const smx_reply param_unknown = PARAM_REPLY(555, 5, 5, 4, "parameter not recognized");

/* What the parameters are read into, and what they are judged by. */
typedef struct param_target {
    smx_verb verb;
    smx_extensions offered;
    bool utf8;     /* the transaction is one of SMTPUTF8 */
    unsigned seen; /* bits: rows of the table that were given */
    smx_mail mail;
    smx_rcpt rcpt;
} param_target;

/* ---- One function per parameter: NULL or what is wrong ---- */

static const smx_reply *param_read_size(smx_slice value, param_target *target)
{
    if (value.len > PARAM_SIZE_DIGITS_MAX ||
        slice_to_number(value, UINT64_MAX, &target->mail.size) != 0)
        return &param_bad_value;
    target->mail.has_size = true;
    return NULL;
}

static const smx_reply *param_read_body(smx_slice value, param_target *target)
{
    const smx_extensions binary = SMX_EXT_BINARYMIME | SMX_EXT_CHUNKING;
    if (slice_equal_nocase(value, SMX_SLICE("7BIT"))) {
        target->mail.body = SMX_BODY_7BIT;
    } else if (slice_equal_nocase(value, SMX_SLICE("8BITMIME"))) {
        target->mail.body = SMX_BODY_8BITMIME;
    } else if (slice_equal_nocase(value, SMX_SLICE("BINARYMIME"))) {
        if ((target->offered & binary) != binary) /* RFC 3030 section 3 */
            return &param_unknown;
        target->mail.body = SMX_BODY_BINARYMIME;
    } else {
        return &param_bad_value;
    }
    return NULL;
}

static const smx_reply *param_read_auth(smx_slice value, param_target *target)
{
    if (!param_auth_is_valid(value))
        return &param_bad_value;
    target->mail.auth = value;
    target->mail.has_auth = true;
    return NULL;
}

static const smx_reply *param_read_smtputf8(smx_slice value, param_target *target)
{
    (void)value;
    target->mail.smtputf8 = true;
    return NULL;
}

static const smx_reply *param_read_requiretls(smx_slice value, param_target *target)
{
    (void)value;
    target->mail.requiretls = true;
    return NULL;
}

static const smx_reply *param_read_ret(smx_slice value, param_target *target)
{
    if (slice_equal_nocase(value, SMX_SLICE("FULL")))
        target->mail.ret = SMX_RET_FULL;
    else if (slice_equal_nocase(value, SMX_SLICE("HDRS")))
        target->mail.ret = SMX_RET_HDRS;
    else
        return &param_bad_value;
    return NULL;
}

static const smx_reply *param_read_envid(smx_slice value, param_target *target)
{
    if (!param_envid_is_valid(value))
        return &param_bad_value;
    target->mail.envid = value;
    return NULL;
}

static unsigned param_notify_bit(smx_slice word)
{
#define PARAM_NOTIFY_BIT(name)                                                                     \
    if (slice_equal_nocase(word, SMX_SLICE(#name)))                                                \
        return SMX_NOTIFY_##name;
    PARAM_NOTIFY_MAP(PARAM_NOTIFY_BIT)
#undef PARAM_NOTIFY_BIT
    return 0;
}

static const smx_reply *param_read_notify(smx_slice value, param_target *target)
{
    unsigned notify = 0;
    smx_slice word;
    while (slice_cut(&value, ',', &word)) {
        unsigned bit = param_notify_bit(word);
        if (bit == 0 || (notify & bit) != 0)
            return &param_bad_value;
        notify |= bit;
    }
    if (!param_notify_is_valid(notify))
        return &param_bad_value;
    target->rcpt.notify = notify;
    return NULL;
}

static const smx_reply *param_read_orcpt(smx_slice value, param_target *target)
{
    if (!param_orcpt_is_valid(value, target->utf8))
        return &param_bad_value;
    target->rcpt.orcpt = value;
    return NULL;
}

typedef struct param_row {
    smx_verb verb;
    smx_slice keyword;
    smx_extensions needed;
    bool has_value;
    const smx_reply *(*read)(smx_slice value, param_target *target);
} param_row;

#define PARAM_ROW(verb, keyword, needed, has_value, read)                                          \
    {                                                                                              \
        SMX_VERB_##verb, {keyword, sizeof(keyword) - 1}, SMX_EXT_##needed, has_value, read         \
    }

static const param_row param_rows[] = {
    PARAM_ROW(MAIL, "SIZE", SIZE, true, param_read_size),                    /* RFC 1870 */
    PARAM_ROW(MAIL, "BODY", 8BITMIME, true, param_read_body),                /* RFC 6152, 3030 */
    PARAM_ROW(MAIL, "AUTH", AUTH, true, param_read_auth),                    /* RFC 4954 */
    PARAM_ROW(MAIL, "SMTPUTF8", SMTPUTF8, false, param_read_smtputf8),       /* RFC 6531 */
    PARAM_ROW(MAIL, "REQUIRETLS", REQUIRETLS, false, param_read_requiretls), /* RFC 8689 */
    PARAM_ROW(MAIL, "RET", DSN, true, param_read_ret),                       /* RFC 3461 */
    PARAM_ROW(MAIL, "ENVID", DSN, true, param_read_envid),                   /* RFC 3461 */
    PARAM_ROW(RCPT, "NOTIFY", DSN, true, param_read_notify),                 /* RFC 3461 */
    PARAM_ROW(RCPT, "ORCPT", DSN, true, param_read_orcpt),                   /* RFC 3461, 6533 */
};

enum { PARAM_ROWS = sizeof(param_rows) / sizeof(param_rows[0]) };

/* ---- Reading the list ---- */

/* esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
static bool param_keyword_is_valid(smx_slice keyword)
{
    for (size_t i = 0; i < keyword.len; i++)
        if (!octet_is(keyword.data[i], OCTET_LET_DIG | OCTET_HYPHEN))
            return false;
    return keyword.len > 0 && keyword.data[0] != '-';
}

/* esmtp-value, and UTF-8 where RFC 6531 section 3.6 allows it. */
static bool param_value_is_valid(smx_slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (!octet_is(value.data[i], OCTET_VALUE | OCTET_NON_ASCII))
            return false;
    return value.len > 0 && smx_utf8_is_valid(value);
}

static size_t param_find(smx_slice keyword, const param_target *target)
{
    for (size_t row = 0; row < PARAM_ROWS; row++)
        if (param_rows[row].verb == target->verb &&
            slice_equal_nocase(keyword, param_rows[row].keyword) &&
            (param_rows[row].needed & target->offered) != 0)
            return row;
    return PARAM_ROWS;
}

static const smx_reply *param_read(smx_slice word, param_target *target)
{
    size_t equals = slice_find(word, '=');
    bool has_value = equals < word.len;
    smx_slice value = has_value ? slice_from(word, equals + 1) : slice_from(word, word.len);
    if (!param_keyword_is_valid(slice_to(word, equals)) ||
        (has_value && !param_value_is_valid(value)))
        return &param_malformed;
    size_t row = param_find(slice_to(word, equals), target);
    if (row == PARAM_ROWS)
        return &param_unknown;
    if ((target->seen & 1U << row) != 0)
        return &param_doubled;
    if (has_value != param_rows[row].has_value)
        return &param_malformed;
    target->seen |= 1U << row;
    return param_rows[row].read(value, target);
}

static const smx_reply *param_read_all(smx_slice rest, param_target *target)
{
    if (rest.len > 0 && !ascii_is_space(rest.data[0]))
        return &param_malformed;
    for (rest = slice_trim(rest); rest.len > 0; rest = slice_trim(rest)) {
        size_t end = 0;
        while (end < rest.len && !ascii_is_space(rest.data[end]))
            end++;
        const smx_reply *wrong = param_read(slice_to(rest, end), target);
        if (wrong != NULL)
            return wrong;
        rest = slice_from(rest, end);
    }
    return NULL;
}

/* Leaves out "FROM:" or "TO:" and the blanks behind it, which are not allowed but common. */
static bool param_skip_prefix(smx_slice *argument, smx_slice prefix)
{
    smx_slice text = slice_trim(*argument);
    if (!slice_starts_with_nocase(text, prefix))
        return false;
    *argument = slice_trim(slice_from(text, prefix.len));
    return true;
}

const smx_reply *smx_mail_parse(smx_slice argument, smx_extensions offered, smx_mail *mail)
{
    param_target target = {.verb = SMX_VERB_MAIL, .offered = offered};
    size_t len;
    if (!param_skip_prefix(&argument, SMX_SLICE("FROM:")))
        return &param_bad_mail;
    smx_path path;
    if (smx_path_parse(argument, SMX_PATH_NULL | SMX_PATH_UTF8, &path, &len) != 0)
        return &param_bad_sender;
    const smx_reply *wrong = param_read_all(slice_from(argument, len), &target);
    if (wrong == NULL && path.utf8 && !target.mail.smtputf8)
        wrong = &param_needs_utf8;
    if (wrong != NULL)
        return wrong;
    target.mail.path = path;
    *mail = target.mail;
    return NULL;
}

const smx_reply *smx_rcpt_parse(smx_slice argument, smx_extensions offered, bool smtputf8,
                                smx_rcpt *rcpt)
{
    param_target target = {.verb = SMX_VERB_RCPT, .offered = offered, .utf8 = smtputf8};
    size_t len;
    if (!param_skip_prefix(&argument, SMX_SLICE("TO:")))
        return &param_bad_rcpt;
    smx_path path;
    if (smx_path_parse(argument, SMX_PATH_POSTMASTER | SMX_PATH_UTF8, &path, &len) != 0)
        return &param_bad_recipient;
    const smx_reply *wrong = param_read_all(slice_from(argument, len), &target);
    if (wrong == NULL && path.utf8 && !smtputf8)
        wrong = &param_needs_utf8;
    if (wrong != NULL)
        return wrong;
    target.rcpt.path = path;
    *rcpt = target.rcpt;
    return NULL;
}
