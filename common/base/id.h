#pragma once
/* Identifiers. Resource ids are prefix + 17 lower-case hex digits from the kernel's random source
 * (8 digits are accepted on input, as EC2 did before 2016). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_MAX 48
void id_new(char out[ID_MAX], const char *prefix); /* id_new(id, "i") -> "i-0123456789abcdef0" */
bool id_is_valid(const char *id, const char *prefix);
void random_bytes(void *out, size_t n); /* aborts when the kernel gives none */
#define UUID_TEXT_SIZE 37
void uuid_new(char out[UUID_TEXT_SIZE]); /* version 4, lower case */
#define UUID_SIZE 16
void uuid_of(const uint8_t random[UUID_SIZE], char out[UUID_TEXT_SIZE]); /* of bytes drawn before */
#define ACCOUNT_ID_SIZE 13
void account_id_new(char out[ACCOUNT_ID_SIZE]); /* 12 digits, no leading zero */
#define ACCESS_KEY_ID_SIZE 21
#define SECRET_KEY_SIZE 41
void access_key_id_new(char out[ACCESS_KEY_ID_SIZE]); /* "AKIA" + 16 upper-case base32 */
void secret_key_new(char out[SECRET_KEY_SIZE]);       /* 40 of base64's alphabet */
